"""The project's two container images and the script that builds them."""
