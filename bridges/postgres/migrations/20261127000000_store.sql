-- What a service that lives in PostgreSQL has there. `events` is the table of postgres-es 0.5, and when each was written.
CREATE TABLE events
(
    aggregate_type text                         NOT NULL,
    aggregate_id   text                         NOT NULL,
    sequence       bigint CHECK (sequence >= 1) NOT NULL,
    event_type     text                         NOT NULL,
    event_version  text                         NOT NULL,
    payload        json                         NOT NULL,
    metadata       json                         NOT NULL,
    created_at     timestamptz                  NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);

-- What the log does not have yet, or has as the newest of a partition. Positions rise in the order of commits: whoever draws one
-- holds the lock of outbox_turn() until its transaction has ended, so none is seen before a lower one.
CREATE TABLE outbox
(
    position       bigserial PRIMARY KEY,
    -- of an event that others than the service's worker wrote; its record is made of it and stands below from then on
    aggregate_type text,
    aggregate_id   text,
    sequence       bigint,
    -- the record, as it will lie in the log
    topic          text,
    partition      integer,
    id             text,
    key            bytea,
    names          bytea[],
    contents       bytea[],
    body           bytea
);

CREATE INDEX outbox_made ON outbox (topic, partition, position);

-- Up to where each topic's partition was taken into this database. It moves in the transaction of what was taken in.
CREATE TABLE inbox
(
    topic     text    NOT NULL,
    partition integer NOT NULL,
    next      bigint  NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- The log that all of it goes into, by a fingerprint: this database is no other's.
CREATE TABLE home
(
    log text NOT NULL
);

CREATE FUNCTION outbox_turn() RETURNS void LANGUAGE sql SET search_path FROM CURRENT AS
$$
SELECT pg_advisory_xact_lock(hashtext('daybook outbox'), hashtext(current_schema()))
$$;

-- At the end of a transaction, so that the turn is held no longer than its commit takes.
CREATE FUNCTION events_written() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
$$
BEGIN
    IF current_setting('daybook.worker', true) IS DISTINCT FROM 'on' THEN
        PERFORM outbox_turn();
        INSERT INTO outbox (aggregate_type, aggregate_id, sequence) VALUES (NEW.aggregate_type, NEW.aggregate_id, NEW.sequence);
        PERFORM pg_notify('daybook_outbox', current_schema());
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER events_written AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION events_written();

-- A gap would stand in the log for good, and nothing could be decided behind it.
CREATE FUNCTION events_follow() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
$$
DECLARE
    last bigint;
BEGIN
    SELECT coalesce(max(sequence), 0) INTO last FROM events WHERE aggregate_type = NEW.aggregate_type AND aggregate_id = NEW.aggregate_id;
    IF NEW.sequence > last + 1 THEN
        RAISE EXCEPTION '% % is at version %: its next event is %, and not %', NEW.aggregate_type, NEW.aggregate_id, last, last + 1, NEW.sequence;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER events_follow BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION events_follow();

-- What the log has cannot be changed or taken back. What cannot go there can be taken back.
CREATE FUNCTION events_are_kept() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
$$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM outbox o
        WHERE o.topic IS NULL AND o.aggregate_type = OLD.aggregate_type AND o.aggregate_id = OLD.aggregate_id AND o.sequence = OLD.sequence;
        IF FOUND THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'events are never changed: the log has them';
END
$$;

CREATE TRIGGER events_are_kept BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION events_are_kept();
CREATE TRIGGER events_are_not_changed BEFORE UPDATE OR TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION events_are_kept();
