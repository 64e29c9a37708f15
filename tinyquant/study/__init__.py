"""Experiments that answer a question with many seeds: the lecture's table, cat or cancer, and the published shapes.

A study is a function of a seed, run over many seeds by `sweep`, whose results are kept in one file (`kept`) and summed up in
numbers with intervals; every sentence that it says is computed from them. Nothing here prints: `tinyquant study` does. On a
cluster, the lecture's table is::

    plan = TablePlan.of(("mlp", "resnet"), seeds=100)
    kept = Kept(Path("table.json"), "table", plan.settings)
    with distributed.Client("scheduler:8786") as client:
        sweep(run_seed, plan.tasks(kept), kept, executor=client.get_executor())
    text = table_text(summarise(kept, plan))
"""
