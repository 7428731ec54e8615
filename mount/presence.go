package mount

import (
	"errors"
	"fmt"
)

// Presence says whether a workspace must exist when it is opened. Open checks it against
// what the store answers anyway, and sends no further request.
type Presence string

const (
	// PresenceDefault is MustExist for a read-only mount, where an empty directory usually
	// means a mistyped URL, and MayBeAbsent for others.
	PresenceDefault Presence = ""
	// MustExist makes Open return store.ErrNotExist if there is no archive.
	MustExist Presence = "mustExist"
	// MayBeAbsent shows a workspace without an archive as an empty directory.
	MayBeAbsent Presence = "mayBeAbsent"
	// MustBeNew makes Open return ErrExist if there already is an archive. A step (see
	// Options.Origin) whose own commit made it returns its *CommittedError. If another
	// commit makes the archive after the open, Close returns the conflict.
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
