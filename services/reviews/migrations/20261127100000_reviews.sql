-- A view as PostgresViewRepository of postgres-es has it: a row for each product that a customer bought.
CREATE TABLE reviews
(
    view_id text                        NOT NULL PRIMARY KEY,
    version bigint CHECK (version >= 0) NOT NULL,
    payload json                        NOT NULL
);

CREATE INDEX reviews_of_a_product ON reviews ((payload ->> 'product'));

-- What buyers make of each product. Summed when it is read: a row that several write would make them wait for each other.
CREATE VIEW ratings AS
SELECT payload ->> 'product'                            AS product,
       count(*)                                         AS reviews,
       round(avg((payload ->> 'stars')::numeric), 2)    AS average
FROM reviews
WHERE payload ->> 'stars' IS NOT NULL
GROUP BY payload ->> 'product';
