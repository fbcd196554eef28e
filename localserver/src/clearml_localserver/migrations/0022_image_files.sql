-- Finds the later images of a series with the same address: their file has been written again. Plots, whose content is
-- a JSON object, are left out, and so is what is too long for an address.
CREATE INDEX event_sample_file ON event_sample (series, content, iter)
    WHERE length(content) < 2048 AND substr(content, 1, 1) <> '{';
