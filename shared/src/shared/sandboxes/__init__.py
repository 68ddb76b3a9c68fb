"""Sandbox tenants, in which integrators try everything: their clock can be moved forward, and they can begin anew.

partner-onboarding is the register of sandboxes. It declares to each service which state a sandbox is to be in (its
round, and how far its clock is ahead), and the service brings its own rows there:

- The clock moves by making what is stored end earlier, once for each advance. So no read asks for a tenant's clock, and
  a request of another tenant does the same work as ever. What ends by that ends at the moment of the advance, never
  before it began.
- A new round deletes the tenant's rows. Only a function of the tables' owner can do it, and it refuses every tenant
  that is no sandbox. A tenant becomes one before it has any rows, and never later, so that nobody can make a sandbox of
  a tenant that is in use.

To declare a state again changes nothing, and what was cut short is finished.
"""
