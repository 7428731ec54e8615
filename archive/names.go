package archive

import "strings"

// cleanName returns the path that an archive's name stands for, without "./",
// leading, doubled or trailing slashes; the root is "". slash tells that the name can
// be a directory's only. Names that are empty, hold a NUL or climb with ".." are
// refused with a *FormatError.
func cleanName(raw string) (path string, slash bool, err error) {
	if err := checkName(raw); err != nil {
		return "", false, err
	}
	slash = strings.HasSuffix(raw, "/") || strings.HasSuffix(raw, "/.")
	path = strings.Trim(raw, "/")
	if !dirty(path) {
		return path, slash, nil
	}
	parts := make([]string, 0, 16)
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", false, formatErr(raw, `the name climbs out of its directory with ".."`)
		default:
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/"), slash, nil
}

// dirty tells that a component of path is empty, "." or "..".
func dirty(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return true
		}
	}
	return false
}

func checkName(raw string) error {
	switch {
	case raw == "":
		return formatErr("", "an entry has an empty name")
	case strings.IndexByte(raw, 0) >= 0:
		return formatErr(raw, "the name holds a NUL byte")
	}
	return nil
}

// splitPath gives the directory and the last name of a clean path.
func splitPath(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}
