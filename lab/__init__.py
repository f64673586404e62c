"""A miniature Internet: real name servers, mail servers, and every way to be broken.

`lab.internet.Lab` brings it up and down, `lab.scenarios.CATALOGUE` lists what is in it and
what a survey must find there. Everything listens on loopback (`lab.addresses`), inside a
network namespace of its own where one can be made.
"""
