"""Experiments that answer a question with many seeds: the lecture's table, cat or cancer, and the published shapes.

A study is a function of a seed, run over many seeds by `sweep`, whose results are kept in one file (`kept`) and summed up in
numbers with intervals; every sentence that it says is computed from them. Nothing here prints: `tinyquant study` does.
"""
