"""What the process of a step needs on its machine: times of its phases, scratch files, a clean environment."""
