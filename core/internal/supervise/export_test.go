package supervise

// ParseRecord decodes the file of a record.
var ParseRecord = parseRecord
