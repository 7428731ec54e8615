package mount

import (
	"errors"
	"fmt"
)

// Presence says whether a workspace has to exist when it is opened. Open compares it
// with what the store answers anyway, and sends no further request.
type Presence string

const (
	// PresenceDefault is MustExist for a read-only mount, where an empty directory is
	// usually a URL with a typing error, and MayBeAbsent for others.
	PresenceDefault Presence = ""
	// MustExist makes Open return store.ErrNotExist where there is no archive.
	MustExist Presence = "mustExist"
	// MayBeAbsent shows a workspace without an archive as an empty directory.
	MayBeAbsent Presence = "mayBeAbsent"
	// MustBeNew makes Open return ErrExist where there is an archive already. A step
	// (see Options.Origin) whose own commit made it returns its *CommittedError. If
	// another commit makes the archive after the open, Close returns the conflict.
	MustBeNew Presence = "mustBeNew"
)

// Check refuses a value that is none of the above, and MustBeNew for a read-only mount.
func (p Presence) Check(readOnly bool) error {
	switch p {
	case PresenceDefault, MustExist, MayBeAbsent:
		return nil
	case MustBeNew:
		if readOnly {
			return errors.New("presence: a workspace that must be new cannot be read-only")
		}
		return nil
	}
	return fmt.Errorf("presence: %q is unknown; write %q, %q or %q", string(p), MustExist, MayBeAbsent, MustBeNew)
}

// resolve replaces the default.
func (p Presence) resolve(readOnly bool) Presence {
	switch {
	case p != PresenceDefault:
		return p
	case readOnly:
		return MustExist
	}
	return MayBeAbsent
}
