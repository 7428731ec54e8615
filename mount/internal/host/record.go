package host

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/ipc"
)

// Record holds what another process needs in order to clear a mount away.
type Record struct {
	ID   uint64   `json:"id,omitempty"` // of the mount; a session uses each number once
	Path ipc.Path `json:"path"`
	URL  string   `json:"url,omitempty"` // without secrets
	Made bool     `json:"made"`          // we made the mountpoint, and remove it if it is still Dir
	// Dir identifies the directory at Path, below the mount.
	Dir DirID `json:"dir"`
	// Dev is the device number of the mount, "major:minor"; "" until it is made. A path
	// does not identify a mount: another one may be there by now, or in another mount
	// namespace.
	Dev string `json:"dev,omitempty"`
	// Plain: the directory shows the workspace, and nothing is mounted there.
	Plain bool `json:"plain,omitempty"`
	// Overlay: the mount is an overlay, which outlives its server. Its device is recorded
	// before it is mounted at Path.
	Overlay bool `json:"overlay,omitempty"`
	// Scratch is where layers of an overlay are attached for a moment, see package overlay.
	Scratch ipc.Path `json:"scratch,omitempty"`
	// Spill is a directory that contains spill directories of the session. A record with
	// Spill has no other field: it is written before the first of them is made, and stays
	// as long as the session.
	Spill ipc.Path `json:"spill,omitempty"`
}

// Identity is equal for two records of one mount, and different for any two mounts that
// exist at the same time, in any mount namespace; "" before the mount is made. A later
// mount may have the same identity.
func (r Record) Identity() string {
	switch {
	case r.Plain:
		return fmt.Sprintf("directory %d:%d %d %d", r.Dir.Major, r.Dir.Minor, r.Dir.Ino, r.Dir.Born)
	case r.Dev != "":
		return "device " + r.Dev
	}
	return ""
}

// RecordPath returns the path of the record of a mount.
func RecordPath(session string, id uint64) string {
	return filepath.Join(session, RecordsName, strconv.FormatUint(id, 10)+".json")
}

// ScratchPath returns where the layers of a mount's overlay are attached for a moment.
func ScratchPath(session string, id uint64) string {
	return filepath.Join(session, layersName+strconv.FormatUint(id, 10))
}

// WriteRecord writes or replaces the record of a mount. Readers see either the old record
// or the new one.
func WriteRecord(session string, id uint64, r Record) error {
	return WriteRecordFile(RecordPath(session, id), r)
}

// WriteRecordFile is WriteRecord for a record that does not belong to a mount.
func WriteRecordFile(path string, r Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Records reads the mounts of a session, by file.
func Records(session string) map[string]Record {
	files, _ := filepath.Glob(filepath.Join(globEscape(session), RecordsName, "*.json")) // fails only on a bad pattern
	out := make(map[string]Record, len(files))
	for _, file := range files {
		out[file] = ReadRecord(file)
	}
	return out
}

// ReadRecord reads one record; the zero record if it is gone.
func ReadRecord(file string) (r Record) {
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &r) != nil {
		return Record{}
	}
	return r
}

// IsElsewhere reports whether a live session has the recorded mount: after a process was
// killed, the directory of a plain workspace may be used again, as may the path and the
// device of an overlay.
func IsElsewhere(r Record, session string) bool {
	if !r.Plain && !r.Overlay {
		return false // a live FUSE mount is not dead
	}
	for _, other := range SessionDirs(filepath.Dir(session)) {
		if other == session || isDeadSession(other) {
			continue
		}
		for _, living := range Records(other) {
			if living.Identity() == r.Identity() && (r.Plain || living.Path == r.Path) {
				return true
			}
		}
	}
	return false
}

// MountpointAt returns the path of the nth mountpoint of one name, from 1.
func MountpointAt(runDir, name string, n int) string {
	path := filepath.Join(runDir, MountpointsName, name)
	if n > 1 {
		path += "." + strconv.Itoa(n)
	}
	return path
}

// RecordedPaths returns the mountpoints of all sessions of a run directory.
func RecordedPaths(runDir string) map[string]bool {
	all := map[string]bool{}
	for _, dir := range SessionDirs(runDir) {
		for _, r := range Records(dir) {
			all[string(r.Path)] = true
		}
	}
	return all
}

// GiveBack removes the mountpoint of a mount that has ended, if it was made for that mount,
// and then the record.
func GiveBack(session string, id uint64, path string, made bool) {
	if made {
		_ = unix.Rmdir(path) // if somebody has put something there, it stays
	}
	os.Remove(RecordPath(session, id))
}

// SessionOf returns the directory of the session that has a record of a path, or "".
func SessionOf(runDir, path string) string {
	for _, dir := range SessionDirs(runDir) {
		for _, r := range Records(dir) {
			if string(r.Path) == path {
				return dir
			}
		}
	}
	return ""
}
