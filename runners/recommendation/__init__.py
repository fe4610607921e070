"""What the recommendation runners share: items as semantic ids, their users, and decoding that ends at items.

Read it in this order: `catalogue`, `quantize` and `synthetic`, `files`, `tasks`, `trie`, `decoding`,
`ranking`, `evaluation`, `policy`.
"""
