"""The DataPrepare pipeline, its command line, and the processes of the one-machine set-up."""
