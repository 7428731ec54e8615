package store

// Traffic counts a store's network requests, by kind: "get", "head", "put", "upload", "part",
// "complete", "abort", "delete", "list", "copy", "bucket", and "other" for an SDK's own
// requests, such as for credentials.
type Traffic map[string]Requests

// Requests sums up the requests of one kind.
type Requests struct {
	Count    int64 `json:"count"`    // tries included
	Retries  int64 `json:"retries"`  // of Count, the repeated ones
	Sent     int64 `json:"sent"`     // bytes of bodies
	Received int64 `json:"received"` // bytes of bodies
}

// TrafficOf returns the traffic of s so far; nil for a store that uses no network, or whose
// driver does not count.
func TrafficOf(s Store) Traffic {
	if counts, ok := s.(interface{ Traffic() Traffic }); ok {
		return counts.Traffic()
	}
	return nil
}
