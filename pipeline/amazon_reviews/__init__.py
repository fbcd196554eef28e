"""These pipelines: what DataPrepare and FullPipeline are made of. Everything beside this folder runs any pipeline."""
