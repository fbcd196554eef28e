"""Dataset versions on the ClearML server: how they are read and made, and the upload of a review file."""
