package store

// Traffic is what went over the network for a store, by kind of request: "get",
// "head", "put", "upload", "part", "complete", "abort", "delete", "list", "copy",
// "bucket", and "other" for what an SDK asks by itself, such as for credentials.
type Traffic map[string]Requests

// Requests sums up the requests of one kind.
type Requests struct {
	Count    int64 `json:"count"`    // tries included
	Retries  int64 `json:"retries"`  // of Count, those that were sent again
	Sent     int64 `json:"sent"`     // bytes of bodies
	Received int64 `json:"received"` // bytes of bodies
}

// TrafficOf returns what went over the network for s so far; nil for a store that
// uses none, or whose driver does not count.
func TrafficOf(s Store) Traffic {
	if counts, ok := s.(interface{ Traffic() Traffic }); ok {
		return counts.Traffic()
	}
	return nil
}
