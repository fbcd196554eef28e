"""The SQL that endpoints and pages need beside `query`, one module per subject.

`query` compiles what a client asks for; here are the fixed statements. Functions take a transaction and plain values,
and return rows, documents, or a `Clause` that narrows a query. They know neither requests nor rules.
"""
