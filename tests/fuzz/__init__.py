"""`./task test-fuzz`: requests made of the endpoints' own schemas, then spoilt; no answer may be a fault of the server.

`values` makes bodies, `world` makes the objects that they name, `client` sends them and judges the answers. The values
are made here and not by a library: `hypothesis-jsonschema` makes valid bodies only, a hundred times slower, and
`schemathesis` wants an OpenAPI document. What finds faults is the mutation and the ids of real objects, and what makes
a run repeatable is that request N depends on the seed and N alone.
"""
