-- Download, decode, resize, aggregate: one pass over pictures behind URLs, in a budget. `$server` is given by
-- examples/pictures.py, which starts one; with pictures of your own: sqlengine -v server=http://... examples/pictures.sql

create temp table pictures as
select i as id, $server || '/' || i || '.jpg' as url from range(60) as t(i);

-- What is there, from the headers of the files: nothing is decoded.
select info.width, info.height, info.format, count(*) as files
from (select image_info(url_download(url, on_error => 'null')) as info from pictures)
where info is not null
group by all
order by info.width;

-- The mean colour of small copies, by size of the original. Only the small copies are ever held.
select width, count(*) as pictures, round(avg(colour[1])) as red, round(avg(colour[2])) as green,
    round(avg(colour[3])) as blue
from (
    select image_info(body).width as width, image_mean(image_resize(image_decode(body, 'RGB'), 32, 32)) as colour
    from (select try_url_download(url) as body from pictures)
)
where colour is not null
group by width
order by width;

-- The same pictures again, though the files differ: pairs whose hashes differ in few bits.
create temp table hashed as
select id, image_hash(body, 'perceptual') as hash from (select try_url_download(url) as body, id from pictures);

select count(*) as alike
from hashed as a join hashed as b on a.id < b.id and bit_count(xor(a.hash, b.hash)) <= 4;
