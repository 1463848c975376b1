-- Which news articles are copies of each other? Text files as JSON lines; functions from udfs/text.py.
-- Run from the top of the checkout: sqlengine --udf udfs/text.py examples/near_duplicates.sql

-- A signature for each article: alike for articles that share most of their runs of three words.
create table signed as
select id, title, minhash(body) as signature
from 'examples/data/articles.jsonl';

-- Only articles that share a band are compared, not every pair.
create table banded as
select s.id, s.signature, b.band
from signed as s, minhash_bands(s.signature) as b;

select a.title as article, b.title as copy, round(pairs.similarity, 2) as similarity
from (
    select distinct a.id as first_id, b.id as second_id, minhash_similarity(a.signature, b.signature) as similarity
    from banded as a join banded as b on a.band = b.band and a.id < b.id
) as pairs
join signed as a on a.id = pairs.first_id
join signed as b on b.id = pairs.second_id
where similarity > 0.7
order by similarity desc, article;

-- How many comparisons that saved.
select count(distinct (a.id, b.id)) as compared, (select count(*) * (count(*) - 1) // 2 from signed) as pairs
from banded as a join banded as b on a.band = b.band and a.id < b.id;
