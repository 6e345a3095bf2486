"""What is shipped: a GGUF with its chat template, a Modelfile, a catalogue of known commands."""
