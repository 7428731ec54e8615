package mount

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/workdir/workdir/archive"
)

// maxOrigin limits an Origin as JSON, in bytes: Temporal limits each name in it to 1,000 by
// default (limit.maxIDLength), and a log has a thousand Origins.
const maxOrigin = 16 << 10

// origin returns Options.Origin as the log records it.
func (m *Mount) origin() (archive.Origin, error) {
	o := m.opts.Origin
	o.Workspace = m.url.Identity()
	o.Scheduled = o.Scheduled.UTC().Truncate(time.Millisecond)
	if err := CheckOrigin(o); err != nil {
		return o, fmt.Errorf("open %s: %w", m.URL(), err)
	}
	return o, nil
}

// CheckOrigin returns nil for an Options.Origin that Open accepts, and ErrLimit for one
// that is too long to be kept.
func CheckOrigin(o archive.Origin) error {
	if year := o.Scheduled.UTC().Year(); !o.Scheduled.IsZero() && (year < 1970 || year > 9999) { // what the log can keep
		return fmt.Errorf("%s, when the work was scheduled, is not within the years 1970 to 9999", o.Scheduled.Format(time.RFC3339))
	}
	for _, name := range []string{o.Execution, o.Step} {
		if !utf8.ValidString(name) { // as JSON it would be equal to others
			return fmt.Errorf("the name %q of the execution or step is not UTF-8", name)
		}
	}
	b, err := json.Marshal(o)
	if err == nil && len(b) > maxOrigin {
		err = fmt.Errorf("%w: the identity of the work has %d bytes, at most %d are kept", ErrLimit, len(b), maxOrigin)
	}
	return err
}
