"""Where the control plane keeps its state: verbs of the domain over SQL, no object mapper."""
