// Package fsmerge merges two successors of one tree. Both came from the same base: mine is
// a tree that stands on it and was changed, theirs stands on an image that somebody else
// has made of it.
//
// What each has changed is known by path. Where the two have changed different paths, what
// mine has changed is done to theirs, which then is what it would be if mine had been opened
// after theirs was stored. Where they meet it is a conflict, and nothing is done:
//
//   - a path that both have changed, made or removed, unless both have made a directory
//     there;
//   - anything that one has made or changed in a directory that the other has removed,
//     renamed or replaced;
//   - another name for a file (a hard link), and a change of a file of several names, where
//     the other has changed the file or one of its names.
//
// The times of a directory are those of the later one. Content of files that mine has made
// is not copied: theirs reads it from mine, which must stay open for as long.
package fsmerge
