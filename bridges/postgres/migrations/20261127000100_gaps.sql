-- What is taken back leaves no gap: the log would get what stands behind it, and nothing could be decided after that.
CREATE FUNCTION events_leave_no_gap() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
$$
BEGIN
    IF EXISTS (SELECT FROM events e WHERE e.aggregate_type = OLD.aggregate_type AND e.aggregate_id = OLD.aggregate_id AND e.sequence > OLD.sequence)
        AND NOT EXISTS (SELECT FROM events e WHERE e.aggregate_type = OLD.aggregate_type AND e.aggregate_id = OLD.aggregate_id AND e.sequence = OLD.sequence)
    THEN
        RAISE EXCEPTION '% % has events behind %: take back those as well', OLD.aggregate_type, OLD.aggregate_id, OLD.sequence;
    END IF;
    RETURN NULL;
END
$$;

-- At the end of a transaction: one statement may take back several, in any order.
CREATE CONSTRAINT TRIGGER events_leave_no_gap AFTER DELETE ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION events_leave_no_gap();
