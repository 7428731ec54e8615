package cloud

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/workdir/workdir/store"
)

// Option refuses invalid values of a URL's option. Nil accepts any. Its error never shows the
// value, which could be a misplaced secret.
type Option func(value string) error

// Text is an option with a value.
func Text(value string) error {
	if value == "" {
		return errors.New("it has no value")
	}
	return nil
}

// YesOrNo is an option that is true or false; see [IsYes].
func YesOrNo(value string) error {
	if _, err := strconv.ParseBool(value); err != nil {
		return errors.New("write true or false")
	}
	return nil
}

// IsYes reads the value of a YesOrNo.
func IsYes(value string) bool {
	yes, err := strconv.ParseBool(value)
	return yes && err == nil
}

// Address is an option with a server's address.
func Address(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return errors.New("write https://host or http://host:port")
	}
	return nil
}

// optionName matches the name of an option. Anything else may be a secret without a name.
var optionName = regexp.MustCompile(`^[A-Za-z_]{1,32}$`)

// ParseOptions splits the options of u. known are the valid options; never says for some
// others what to do instead.
func ParseOptions(u store.URL, known map[string]Option, never map[string]string) (url.Values, error) {
	query, err := url.ParseQuery(u.Query)
	if err != nil {
		return nil, BadURL(u, errors.New("the options cannot be split"), "write name=value&name=value, and a % as %25")
	}
	names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	for name, values := range query {
		check, ok := known[name]
		switch {
		case never[name] != "":
			return nil, BadURL(u, fmt.Errorf("the option %q", name), never[name])
		case !ok && (!optionName.MatchString(name) || strings.Trim(values[0], "=") == ""):
			return nil, BadURL(u, errors.New("an option that is not name=value"), "those of "+u.Scheme+" are "+names)
		case !ok:
			return nil, BadURL(u, fmt.Errorf("unknown option %q", name), "those of "+u.Scheme+" are "+names)
		case len(values) > 1:
			return nil, BadURL(u, fmt.Errorf("the option %q occurs %d times", name, len(values)), "leave one")
		case check == nil:
		default:
			err = check(values[0])
		}
		if err != nil {
			return nil, BadURL(u, fmt.Errorf("the option %q: %w", name, err), "")
		}
	}
	return query, nil
}

// BadURL is the error for the options of u, or related settings.
func BadURL(u store.URL, cause error, todo string) error {
	bucket := store.URL{Scheme: u.Scheme, Bucket: u.Bucket}
	return &store.Error{Op: "open", Object: bucket.String(), Kind: store.ErrURL, Cause: cause, Todo: todo}
}

// OneLine makes a foreign message fit for one line.
func OneLine(s string) string {
	const most = 600 // bytes
	if s = strings.Join(strings.Fields(s), " "); len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
