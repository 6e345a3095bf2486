"""The detectors of secrets: detect-secrets' plugins, and patterns for what they miss."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from opslore.dataset import assigned
from opslore.dataset.secrets import Detector, Span

PLUGINS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("aws.AWSKeyDetector", "AWS_KEY", "AWS", ("AKIA", "ASIA", "ABIA", "ACCA", "A3T", "aws", "AWS")),
    ("azure_storage_key.AzureStorageKeyDetector", "API_TOKEN", "Azure", ("AccountKey",)),
    ("cloudant.CloudantDetector", "API_TOKEN", "Cloudant", ("cloudant",)),
    ("discord.DiscordBotTokenDetector", "API_TOKEN", "Discord", ("iscord", "DISCORD")),
    ("github_token.GitHubTokenDetector", "API_TOKEN", "GitHub",
     ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    ("gitlab_token.GitLabTokenDetector", "API_TOKEN", "GitLab",
     ("glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "GR1348941", "glcbt-", "glimt-", "glptt-",
      "glagent-", "gloas-")),
    ("ibm_cloud_iam.IbmCloudIamDetector", "API_TOKEN", "IBM Cloud", ("ibm", "IBM")),
    ("ibm_cos_hmac.IbmCosHmacDetector", "API_TOKEN", "IBM COS", ("hmac", "HMAC", "cos", "COS")),
    ("jwt.JwtTokenDetector", "JWT", "JWT", ("eyJ",)),
    ("mailchimp.MailchimpDetector", "API_TOKEN", "Mailchimp", ("-us",)),
    ("npm.NpmDetector", "API_TOKEN", "npm", ("_authToken",)),
    ("openai.OpenAIDetector", "API_TOKEN", "OpenAI", ("T3BlbkFJ",)),
    ("pypi_token.PypiTokenDetector", "API_TOKEN", "PyPI", ("pypi-Ag",)),
    ("sendgrid.SendGridDetector", "API_TOKEN", "SendGrid", ("SG.",)),
    ("slack.SlackDetector", "API_TOKEN", "Slack", ("xox",)),
    ("softlayer.SoftlayerDetector", "API_TOKEN", "SoftLayer", ("softlayer", "SOFTLAYER", "sl_")),
    ("square_oauth.SquareOAuthDetector", "API_TOKEN", "Square", ("sq0csp-",)),
    ("stripe.StripeDetector", "API_TOKEN", "Stripe", ("k_live_",)),
    ("telegram_token.TelegramBotTokenDetector", "API_TOKEN", "Telegram", (":AA",)),
    ("twilio.TwilioKeyDetector", "API_TOKEN", "Twilio", ("wilio", "TWILIO")),
)  # fmt: skip
"""Plugin, placeholder, name, hints. Left out: entropy (it takes digests and git commits for
secrets), public addresses (`personal` knows which count), Artifactory (`AP` and eight letters is
no token), private keys (it finds their first line only), basic auth (`assigned` reads shorter
passwords) and keywords (`assigned` judges the value, too)."""

_OWN: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("Hugging Face", "API_TOKEN", ("hf_", "api_org_"), r"\b(?:hf|api_org)_[A-Za-z0-9]{20,}\b"),
    ("OpenAI, Anthropic", "API_TOKEN", ("sk-",),
     r"\bsk-(?:(?:proj|svcacct|admin|service|None|ant|or|lf)-[A-Za-z0-9_-]{16,}|[A-Za-z0-9]{32,})"),
    ("Google", "API_TOKEN", ("AIza", "ya29.", "GOCSPX-"),
     r"\bAIza[0-9A-Za-z_-]{30,}|\bya29\.[0-9A-Za-z_-]{20,}|\bGOCSPX-[0-9A-Za-z_-]{20,}"),
    ("GitHub", "API_TOKEN", ("github_pat_", "gho_", "ghp_", "ghs_", "ghu_", "ghr_"),
     r"\bgithub_pat_[A-Za-z0-9_]{22,}|\bgh[pousr]_[A-Za-z0-9]{30,}"),
    ("Slack", "API_TOKEN", ("xox", "xapp-"),
     r"\bxox[a-z](?:\.xox[a-z])?-\d[A-Za-z0-9-]{8,}|\bxapp-\d-[A-Za-z0-9-]{20,}"),
    ("webhooks", "API_TOKEN", ("hooks.slack.com", "/api/webhooks", "webhook.office.com"),
     r"https://(?:hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}"
     r"|discord(?:app)?\.com/api/webhooks/\d+/[\w-]{20,}"
     r"|[\w.-]+\.webhook\.office\.com/webhookb2/[\w@/-]{20,})"),
    ("npm, PyPI, RubyGems, Docker, crates", "API_TOKEN",
     ("npm_", "pypi-", "rubygems_", "dckr_pat_", "cio"),
     r"\bnpm_[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{50,}|\brubygems_[a-f0-9]{40,}"
     r"|\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}|\bcio[A-Za-z0-9]{32}\b"),
    ("JWT", "JWT", ("eyJ",), r"\beyJ[\w-]{8,}={0,2}\.[\w-]{8,}={0,2}(?:\.[\w-]*={0,2})?"),
    ("clouds and servers", "API_TOKEN",
     ("hvs.", "hvb.", "dop_v1_", "shpat_", "AGE-SECRET-KEY-", "glsa_", "lin_api_", "pul-",
      "sntrys_", "tskey-", "ATATT3", "NRAK-", "PMAK-", "LTAI", "doo_v1_", "sha256~",
      "atlasv1"),
     r"\bhv[sb]\.[A-Za-z0-9_-]{20,}|\bdo[or]_v1_[a-f0-9]{60,}|\bdop_v1_[a-f0-9]{60,}"
     r"|\bshpat_[a-fA-F0-9]{32}|\bAGE-SECRET-KEY-1[A-Z0-9]{50,}|\bglsa_[A-Za-z0-9_]{30,}"
     r"|\blin_api_[A-Za-z0-9]{30,}|\bpul-[a-f0-9]{40}\b|\bsntrys_[A-Za-z0-9+/=_]{40,}"
     r"|\btskey-[a-z]+-[A-Za-z0-9-]{15,}|\bATATT3[A-Za-z0-9_=-]{50,}|\bNRAK-[A-Z0-9]{27}\b"
     r"|\bPMAK-[a-f0-9-]{50,}|\bLTAI[A-Za-z0-9]{12,22}\b"
     r"|\bsha256~[A-Za-z0-9_-]{40,}|\b[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{50,}"),
    ("private key in one line", "PRIVATE_KEY", ("LS0tLS1CRUdJTi",),
     r"\bLS0tLS1CRUdJTi(?:BQUklWQVRF|BSU0EgUFJJVkFURSBLRV|BFQyBQUklWQVRF|BPUEVOU1NIIFBSSVZBVE"
     r"|BFTkNSWVBURUQgUFJJVkFURS)[A-Za-z0-9+/=]+"),
)  # fmt: skip

_KEY_BLOCK = re.compile(
    r"-----BEGIN (?P<what>[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----"
    r"(?:(?!-----BEGIN )[\s\S])*?(?:-----END (?P=what)-----|(?=\n[^\S\n]*```)|\Z)"
    r"|PuTTY-User-Key-File-\d[\s\S]*?(?:Private-MAC: *\S+|\Z)"
)
"""To its end, or to where the fence or the text is cut."""


SHORTEST = 8
"""Characters of the shortest token; of a shorter find the whole match is taken."""


def detectors() -> tuple[Detector, ...]:
    """Every detector of a secret."""
    own = (Detector(name, mask, hints, _pattern(text)) for name, mask, hints, text in _OWN)
    return (
        Detector("private key", "PRIVATE_KEY", (), _key_blocks),
        *(Detector(name, mask, hints, _plugin(path)) for path, mask, name, hints in PLUGINS),
        *own,
        *assigned.detectors(),
    )


def _key_blocks(text: str) -> Iterator[Span]:
    if "PRIVATE KEY" in text or "PuTTY-User-Key" in text:
        yield from (found.span() for found in _KEY_BLOCK.finditer(text))


def _pattern(text: str) -> Callable[[str], Iterator[Span]]:
    compiled = re.compile(text)

    def find(line: str) -> Iterator[Span]:
        return (found.span() for found in compiled.finditer(line))

    return find


def _plugin(path: str) -> Callable[[str], Iterator[Span]]:
    """A plugin's finds as offsets; it is made at its first use."""
    made: list[Any] = []

    def find(line: str) -> Iterator[Span]:
        if not made:
            import importlib

            module, _, name = path.partition(".")
            made.append(
                getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)()
            )
        for secret in set(made[0].analyze_string(line)):
            if len(secret) < SHORTEST:  # a group of its pattern, such as the prefix `glpat`
                for pattern in made[0].denylist:
                    yield from (found.span() for found in pattern.finditer(line))
                continue
            if assigned.is_placeholder(secret):
                continue
            at = line.find(secret)
            while at >= 0:
                yield at, at + len(secret)
                at = line.find(secret, at + len(secret))

    return find
