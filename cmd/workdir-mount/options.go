package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// mountFlags are the flags of the commands that open a workspace. The daemon
// gets them as JSON.
type mountFlags struct {
	URL          store.URL `json:"url"` // with its options, including secrets
	Dir          string    `json:"-"`   // arbitrary bytes, see daemonRequest
	ReadOnly     bool      `json:"readOnly"`
	KeepEmpty    bool      `json:"keepEmpty"`
	Keep         keepFlags `json:"keep"`
	SaveFailed   string    `json:"saveFailed"` // a URL, once resolved
	Checkpoint   string    `json:"checkpoint"` // that it begins with
	Portable     bool      `json:"portable"`
	Presence     presence  `json:"presence"`
	OnConflict   conflict  `json:"onConflict"`
	MaxBytes     byteSize  `json:"maxBytes"`
	MaxInodes    count     `json:"maxInodes"`
	Spill        string    `json:"-"` // likewise
	SpillReserve byteSize  `json:"spillReserve"`
	Cache        string    `json:"-"` // likewise
	CacheBytes   byteSize  `json:"cacheBytes"`
	FetchAll     bool      `json:"fetchAll"`
	Owner        owner     `json:"owner"`
	View         view      `json:"view"`
	Plain        bool      `json:"plain"` // --view plain, too

	AllowOther bool `json:"allowOther"`
	Suid       bool `json:"suid"`
	Dev        bool `json:"dev"`
	Commit     bool `json:"commit"` // mark it at once; of mount alone, as is the next

	Metrics string `json:"metrics"` // address of the metrics

	Grace time.Duration `json:"grace"`

	wait    time.Duration  // of exec, as are the next
	redone  bool           // the command runs again after a conflict
	origin  archive.Origin // of the work
	since   time.Time
	at      string
	command string // of exec
}

func (f *mountFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.ReadOnly, "read-only", false, "mount read-only; nothing is stored")
	f.Presence.register(flags)
	flags.Var(&f.OnConflict, "on-conflict", "where others have stored the workspace meanwhile: fail, or merge what was changed into what they have stored, if the two have changed different paths (default fail)")
	flags.BoolVar(&f.KeepEmpty, "keep-empty", false, "store an emptied workspace as an empty archive; by default its archive is deleted")
	f.Keep.register(flags)
	flags.StringVar(&f.SaveFailed, "save-failed", "", "where work goes that could not be stored, or was done by a command that failed: the `URL` of a new workspace, or FILE.tar.gz")
	flags.StringVar(&f.Checkpoint, "from-checkpoint", "", "begin with a checkpoint: by 8 digits or more of its `ID`; or last, for the newest one of this --execution, or of the workspace, if there is one")
	flags.BoolVar(&f.Portable, "portable", false, "refuse to store what the Python temporal-workdir cannot read")
	flags.Var(&f.MaxBytes, "max-bytes", "memory for content, and as much for names and attributes, such as 64MiB or 2GiB; tools get ENOSPC beyond it (default: half of the memory limit)")
	flags.Var(&f.MaxInodes, "max-inodes", "number of files and directories, further names of files included (default: what all mounts have left of one for each KiB of half of the memory limit)")
	flags.StringVar(&f.Spill, "spill", "", "directory on disk for content that memory has no room for (default: tools get ENOSPC)")
	flags.Var(&f.SpillReserve, "spill-reserve", "how much of the disk of --spill stays free, for others and for what is stored (default: a twentieth, but at least 256MiB, or a quarter of a disk of less than 1GiB)")
	flags.StringVar(&f.Cache, "cache", "", "directory on disk for what is fetched of the archive, compressed (default: a sixteenth of the memory limit, for all mounts)")
	flags.Var(&f.CacheBytes, "cache-bytes", "memory for what was read of the archive, uncompressed, at most half of what all mounts have left for it (default: what they share, a 32nd of the memory limit)")
	flags.BoolVar(&f.FetchAll, "fetch-all", false, "fetch and check all of the archive, and keep it in --cache or in memory, before the mount is shown")
	flags.Var(&f.Owner, "owner", "whom the files belong to: UID, UID:GID, or keep for those whom the archive names; for root (default: the user who mounts)")
	flags.Var(&f.View, "view", "how tools see the workspace: overlay, fuse, plain, or auto for the overlay where it can be had and suits the workspace, and else fuse (default auto)")
	flags.BoolVar(&f.Plain, "plain", false, "as --view plain: give the workspace as a plain directory, for hosts without FUSE: nothing but mode bits enforces --read-only, --max-bytes is looked at when it is opened and stored, and only the processes that are found show that it is still in use")
	flags.BoolVar(&f.AllowOther, "allow-other", false, "let other users into the mount, as far as permissions allow")
	flags.BoolVar(&f.Suid, "suid", false, "let set-user-ID programs have their effect; for root")
	flags.BoolVar(&f.Dev, "dev", false, "accept device nodes; for root")
	flags.DurationVar(&f.Grace, "grace", mount.DefaultGrace, "how long to wait at unmount for processes that still use the workspace")
}

// resolve checks the flags and makes them independent of the working directory.
func (f *mountFlags) resolve(url string) error {
	var err error
	if f.URL, err = store.ParseURL(url); err != nil {
		return err
	}
	if err := f.Presence.check(f.ReadOnly); err != nil {
		return err
	}
	if f.Plain && f.View.Is != mount.ViewAuto && f.View.Is != mount.ViewPlain {
		return badFlag("--plain", "does not go with --view "+string(f.View.Is))
	}
	f.Plain = f.Plain || f.View.Is == mount.ViewPlain
	if f.SaveFailed != "" {
		to, err := store.ParseURL(strings.TrimSuffix(f.SaveFailed, ".tar.gz"))
		if err != nil {
			return err
		}
		f.SaveFailed = to.String()
	}
	if f.Commit && f.ReadOnly {
		return badFlag("--commit", "needs a mount that can be written, without --read-only")
	}
	if f.Grace <= 0 {
		return badFlag("--grace", "must be more than 0, such as 10s")
	}
	if f.SpillReserve > 0 && f.Spill == "" && !f.Plain {
		return badFlag("--spill-reserve", "needs --spill, the directory whose disk is meant")
	}
	for flag, given := range map[string]bool{"--allow-other": f.AllowOther, "--dev": f.Dev, "--suid": f.Suid} {
		if f.Plain && given {
			return badFlag(flag, "is nothing that a plain directory can give; leave it or --plain out")
		}
	}
	if f.at != "" && (!filepath.IsAbs(f.at) || filepath.Clean(f.at) == "/") {
		return badFlag("--at", "must be an absolute path other than /, such as /workspace")
	}
	for _, dir := range []*string{&f.Dir, &f.Spill, &f.Cache} {
		if *dir == "" {
			continue
		}
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	return nil
}

// view is a flag: auto, overlay, fuse or plain.
type view struct {
	Is mount.View `json:"is"`
}

// Set reads a flag.
func (v *view) Set(s string) (err error) {
	v.Is, err = mount.ParseView(s)
	return err
}

func (v *view) String() string { return string(v.Is) }

// Type is the name of the value in the help.
func (v *view) Type() string { return "view" }

// owner is a flag: UID, UID:GID or keep.
type owner struct {
	Text string       `json:"text"`
	Is   *mount.Owner `json:"is"` // nil if the flag was not set
}

// Set reads a flag.
func (o *owner) Set(s string) error {
	o.Text, o.Is = s, &mount.Owner{Keep: s == "keep"}
	if o.Is.Keep {
		return nil
	}
	uid, gid, ok := strings.Cut(s, ":")
	if !ok {
		gid = uid
	}
	for to, text := range map[*uint32]string{&o.Is.UID: uid, &o.Is.GID: gid} {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is no owner; write UID, UID:GID or keep", s)
		}
		*to = uint32(n)
	}
	return nil
}

func (o *owner) String() string { return o.Text }

// Type is the name of the value in the help.
func (o *owner) Type() string { return "owner" }

func badFlag(flag, what string) error {
	return &statusError{code: exitUsage, err: errors.New(flag + " " + what)}
}

// open mounts the workspace and shows the progress.
func (a *app) open(ctx context.Context, f *mountFlags) (*mount.Mount, error) {
	bar := a.newProgress()
	defer bar.finish()
	m, err := mount.OpenURL(ctx, f.URL, &mount.Options{
		Dir:          f.Dir,
		Wait:         f.wait,
		Redone:       f.redone,
		At:           f.at,
		ReadOnly:     f.ReadOnly,
		MaxBytes:     int64(f.MaxBytes),
		MaxInodes:    int64(f.MaxInodes),
		Spill:        f.Spill,
		SpillReserve: int64(f.SpillReserve),
		Cache:        f.Cache,
		CacheBytes:   int64(f.CacheBytes),
		FetchAll:     f.FetchAll,
		Owner:        f.Owner.Is,
		View:         f.View.Is,
		Plain:        f.Plain,
		KeepEmpty:    f.KeepEmpty,
		Keep:         f.Keep.keep(),
		Portable:     f.Portable,
		SaveFailed:   f.SaveFailed,

		FromCheckpoint: f.Checkpoint,

		Command:    f.command,
		Presence:   f.Presence.forName(f.URL, f.ReadOnly),
		OnConflict: mount.ConflictPolicy(f.OnConflict),
		Grace:      f.Grace,
		RunDir:     a.runDir,
		Progress:   bar.update,
		Logger:     a.log,
		Origin:     f.origin,
		Since:      f.since,

		AllowOther: f.AllowOther,
		Suid:       f.Suid,
		Dev:        f.Dev,
	})
	return m, interrupted(ctx, asked(f.URL, err))
}

// count is a flag for a positive number.
type count int64

// Set reads a flag.
func (c *count) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is not a number from 1 on", s)
	}
	*c = count(n)
	return nil
}

func (c *count) String() string {
	if *c == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*c), 10)
}

// Type is the name of the value in the help.
func (c *count) Type() string { return "number" }

// byteSize is a flag for a number of bytes: digits and a unit, where K, M, G, T
// and KiB, MiB, GiB, TiB are powers of 1024 and kB, MB, GB, TB powers of 1000.
type byteSize int64

var byteUnits = []struct {
	suffix string // lower case
	bytes  int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40},
	{"b", 1}, {"", 1},
}

// Set reads a flag.
func (b *byteSize) Set(s string) error {
	lower := strings.ToLower(s)
	for _, unit := range byteUnits {
		digits, ok := strings.CutSuffix(lower, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n <= 0 || n > (1<<63-1)/unit.bytes {
			break
		}
		*b = byteSize(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is no size; write for example 64MiB", s)
}

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Type is the name of the value in the help.
func (b *byteSize) Type() string { return "size" }

// environment is the variables for tools in the mount, in addition to our own environment.
func (a *app) environment(m *mount.Mount) []string {
	env := append(os.Environ(), "WORKDIR="+m.CommandPath(), "WORKDIR_URL="+m.URL())
	if a.runDir != "" {
		env = append(env, runDirVariable+"="+a.runDir)
	}
	return env
}
