package mount

import "fmt"

// ConflictPolicy says what a commit does where others have stored the workspace since it
// was opened.
type ConflictPolicy string

const (
	// FailOnConflict stores nothing, and Close returns a *store.ConflictError. It is the
	// default, which "" stands for as well.
	FailOnConflict ConflictPolicy = "fail"
	// Merge does what was changed to what the others have stored, and stores that as its
	// successor, if the two have changed different paths. Where both have changed a path, or
	// one has removed the directory of what the other has changed, it is a conflict, with
	// the paths. The two archives must have an index: those of other programs, and those of
	// a plain directory, are not merged. A workspace that must be new (MustBeNew) is not
	// merged either.
	//
	// What was stored is what it would be if the work had begun after the others': the same
	// only where the work did not depend on what it read, so use it where parallel work is
	// about different files.
	Merge ConflictPolicy = "merge"
)

// Check refuses a value that is none of the above.
func (p ConflictPolicy) Check() error {
	switch p {
	case "", FailOnConflict, Merge:
		return nil
	}
	return fmt.Errorf("on conflict: %q is unknown; write %q or %q", string(p), FailOnConflict, Merge)
}
