package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Usage is a workspace with its versions and checkpoints.
type Usage struct {
	Workspace
	Gone        bool         // it has no archive, and versions or checkpoints are left
	Versions    []Version    // the newest first
	Checkpoints []Checkpoint // likewise
}

// VersionBytes is the total size of the versions. In a directory a version that is a hard link
// to the current archive takes no space until that is replaced.
func (u *Usage) VersionBytes() (sum int64) {
	for _, v := range u.Versions {
		sum += v.Size
	}
	return sum
}

// CheckpointBytes is what the checkpoints take.
func (u *Usage) CheckpointBytes() (sum int64) {
	for _, c := range u.Checkpoints {
		sum += c.Size
	}
	return sum
}

// UsageOf returns the workspaces beneath a prefix with their versions and checkpoints, sorted by name: those
// directly beneath it, or all if recursive is set. It includes workspaces that only have
// those, in directories with other workspaces and in that of the prefix.
func UsageOf(ctx context.Context, prefixURL string, recursive bool) (found []Usage, err error) {
	u, err := ParsePrefix(prefixURL)
	if err != nil {
		return nil, err
	}
	err = u.withStore(ctx, func(s Store) (err error) {
		found, err = u.usage(ctx, s, recursive)
		return err
	})
	return found, err
}

func (u URL) usage(ctx context.Context, s Store, recursive bool) ([]Usage, error) {
	ask := s.List
	all, isLister := s.(Lister)
	if recursive {
		if !isLister {
			return nil, noLister(u.prefix())
		}
		ask = all.ListAll
	}
	infos, err := ask(ctx, u.prefix())
	if err != nil {
		return nil, err
	}
	var found []Usage
	dirs := []string{u.prefix()}
	for _, info := range infos {
		if w, ok := workspaceOf(u, info); ok {
			found = append(found, Usage{Workspace: w})
			dirs = append(dirs, info.Key[:strings.LastIndexByte(info.Key, '/')+1])
		}
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		if found, err = u.addVersions(ctx, s, found, dir); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b Usage) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// addVersions adds the versions and checkpoints in a directory of archives to their workspaces.
func (u URL) addVersions(ctx context.Context, s Store, found []Usage, dir string) ([]Usage, error) {
	all, ok := s.(Lister)
	if !ok { // a version is beneath the name of its workspace
		return found, nil
	}
	infos, err := all.ListAll(ctx, dir+versionsName+"/")
	if err != nil {
		return nil, err
	}
	for key, infos := range keptByKey(infos) {
		i := slices.IndexFunc(found, func(have Usage) bool { return have.URL.Key == key })
		if i < 0 {
			w, ok := workspaceOf(u, Info{Key: key})
			if !ok {
				continue
			}
			i = len(found)
			found = append(found, Usage{Workspace: w, Gone: true})
		}
		found[i].Versions, found[i].Checkpoints = versionsAmong(key, infos), checkpointsAmong(key, infos)
	}
	return found, nil
}

// keptByKey sorts what is kept to the keys of the workspaces. Others' archives are left out.
func keptByKey(infos []Info) map[string][]Info {
	byKey := map[string][]Info{}
	for _, info := range infos {
		dir, rest, _ := strings.Cut("/"+info.Key, "/"+versionsName+"/")
		if name, _, ok := cutLast(rest); ok {
			key := strings.TrimPrefix(dir+"/"+name, "/")
			if one := []Info{info}; len(versionsAmong(key, one))+len(checkpointsAmong(key, one)) > 0 {
				byKey[key] = append(byKey[key], info)
			}
		}
	}
	return byKey
}

// cutLast cuts at the last slash.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// noLister is the error of a driver that lists only one level.
func noLister(prefix string) error {
	return &Error{Op: "list", Object: prefix, Cause: fmt.Errorf("%w: the driver lists one level only", errors.ErrUnsupported), Todo: "list it level by level"}
}
