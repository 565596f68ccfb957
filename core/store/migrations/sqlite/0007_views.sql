-- What peers told of their paths is packed in another way. They tell it again
-- with their next answer.
DELETE FROM pair_latest;
