"""Find out, and prove, which mask and which patch make an audio JEPA learn."""
