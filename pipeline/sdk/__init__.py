"""The ClearML SDK where its public interface does not do: the only package that uses names which the SDK may change.

Each such name is in `private_names.TABLE`, with the reason. One module for each purpose: `controller` and `jobs`
run a pipeline's graph, `datasets` reads and writes dataset versions, `stored_files` files that several records refer
to, `models` asks for models, `processes` tells a process which task it is, `steps` prepares the process of a step.
Nothing is patched by an import: `steps.prepare` and `datasets.prepare` do it when they are called.
"""
