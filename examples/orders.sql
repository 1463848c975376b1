-- A shop's orders (Parquet) and customers (CSV). Run from the top of the checkout: sqlengine examples/orders.sql

-- Revenue per country, the countries with the most first.
select country, count(*) as orders, sum(quantity * price) as revenue, avg(price) as mean_price
from 'examples/data/orders.parquet' as o
join 'examples/data/customers.csv' as c on o.customer_id = c.customer_id
group by country
order by revenue desc;

-- The ten best customers of the first quarter.
select c.name, sum(o.quantity * o.price) as revenue
from 'examples/data/orders.parquet' o, 'examples/data/customers.csv' c
where o.customer_id = c.customer_id and o.ordered_on < date '2024-04-01'
group by c.name
order by revenue desc, c.name
limit 10;

-- Customers who have never ordered a rug.
select count(*) as without_rug
from 'examples/data/customers.csv' c
where not exists (
    select * from 'examples/data/orders.parquet' o where o.customer_id = c.customer_id and o.product = 'rug'
);

-- Orders above one and a half times the mean price of their product.
select product, count(*) as expensive
from 'examples/data/orders.parquet' o
where price > (select 1.5 * avg(price) from 'examples/data/orders.parquet' i where i.product = o.product)
group by product
order by product;
