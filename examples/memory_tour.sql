-- What a budget does. Run from the top of the checkout: sqlengine -m 220MB examples/memory_tour.sql

-- A table of three million rows, 46 MB: what does not fit is on disk.
create temp table numbers as select range as id, range * 7919 % 1500000 as k from range(3000000);

-- Before a query runs: what each operator needs at least, what it would like, whether it fits, what would change that.
explain memory
select k, count(*) as n, max(id) as last from numbers group by k order by n desc, k limit 3;

-- What would happen with more.
explain memory (memory_limit '1GB')
select k, count(*) as n, max(id) as last from numbers group by k order by n desc, k limit 3;

-- It runs either way, and says the same.
select k, count(*) as n, max(id) as last from numbers group by k order by n desc, k limit 3;

-- What the engine did about it.
select kind, count(*) > 0 as happened from sqlengine_memory_events() where kind = 'spill' group by kind;

-- Predicted beside actual.
explain analyze memory
select k, count(*) as n, max(id) as last from numbers group by k order by n desc, k limit 3;
