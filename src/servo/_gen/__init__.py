"""Generated from proto/ by scripts/regen.sh; only ``servo._wire`` may import it."""
