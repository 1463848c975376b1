-- One row becomes many: lists by UNNEST, and texts cut into pieces by a generator from udfs/text.py.
-- Run from the top of the checkout: sqlengine --udf udfs/text.py examples/explode.sql

-- The tags of the articles, by how often they occur.
select tag, count(*) as articles
from 'examples/data/articles.jsonl', unnest(tags) as t(tag)
group by tag
order by articles desc, tag;

-- Pieces for a search index: at most 200 characters, ending with a sentence, 40 characters repeated.
select a.id, c.number, c.start, length(c.text) as characters, c.text
from 'examples/data/articles.jsonl' as a, chunk_text(a.body, 200, 40) as c
where a.id <= 2
order by a.id, c.number;

-- Words per article, without holding the exploded words anywhere.
select title, count(*) as words, count(distinct lower(word)) as different
from 'examples/data/articles.jsonl' as a, unnest(words(a.body)) as w(word)
group by title
order by words desc, title
limit 3;
