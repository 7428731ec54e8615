package s3

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// optionKind is what values an option takes.
type optionKind int

const (
	text optionKind = iota
	yesOrNo
	number
	address
)

// options are those of gocloud.dev/blob/s3blob.URLOpener and
// gocloud.dev/aws.V2ConfigFromURLParams. Here they are for a message that names
// the wrong one; they are carried out there.
var options = map[string]optionKind{
	"accelerate": yesOrNo, "anonymous": yesOrNo, "disable_https": yesOrNo, "dualstack": yesOrNo,
	"endpoint": address, "fips": yesOrNo, "hostname_immutable": yesOrNo, "kmskeyid": text,
	"profile": text, "rate_limiter_capacity": number, "region": text,
	"request_checksum_calculation": text, "response_checksum_validation": text, "role": text,
	"s3ForcePathStyle": yesOrNo, "ssetype": text, "use_path_style": yesOrNo,
}

func optionNames() string {
	var names []string
	for name := range options {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// parseQuery splits the options of a URL. The error names the one that is wrong,
// and never shows a value: it could be a secret in the wrong place.
func parseQuery(raw string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fmt.Errorf("the options cannot be split: write name=value&name=value, and a %% as %%25")
	}
	for name, values := range query {
		kind, known := options[name]
		switch {
		case !known:
			return nil, fmt.Errorf("unknown option %q; those of s3 are %s", name, optionNames())
		case len(values) > 1:
			return nil, fmt.Errorf("the option %q is there %d times", name, len(values))
		case values[0] == "":
			return nil, fmt.Errorf("the option %q has no value", name)
		}
		if err := kind.check(values[0]); err != nil {
			return nil, fmt.Errorf("the option %q: %w", name, err)
		}
	}
	return query, nil
}

// check refuses a value that the option cannot have.
func (k optionKind) check(value string) error {
	switch k {
	case yesOrNo:
		if _, err := strconv.ParseBool(value); err != nil {
			return fmt.Errorf("write true or false")
		}
	case number:
		if _, err := strconv.ParseInt(value, 10, 32); err != nil {
			return fmt.Errorf("write a number")
		}
	case address:
		if u, err := url.Parse(value); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			return fmt.Errorf("write https://host or http://host:port")
		}
	}
	return nil
}
