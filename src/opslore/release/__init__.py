"""Put a judged bundle into the world: a version, archives, a registry entry, a deployed folder."""
