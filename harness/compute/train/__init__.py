"""The training job: a wrapper around `accelerate launch`, and the script that it launches."""
