-- A view as PostgresViewRepository of postgres-es has it.
CREATE TABLE statements
(
    view_id text                        NOT NULL PRIMARY KEY,
    version bigint CHECK (version >= 0) NOT NULL,
    payload json                        NOT NULL
);
