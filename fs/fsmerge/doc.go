// Package fsmerge merges two successors of one tree. Both came from the same base: mine is
// a tree that stands on the base and was changed; theirs stands on the image of a later
// archive, which somebody else made from the base.
//
// The changes of each side are known by path. If the two sides changed different paths, the
// changes of mine are applied to theirs, which then is what it would be if mine had been
// opened after theirs was stored. If they met, there is a conflict, and theirs is not
// changed. They meet at
//
//   - a path that both have changed, made or removed, unless both have made a directory
//     there;
//   - anything that one side has made or changed in a directory that the other has removed,
//     renamed or replaced;
//   - another name for a file (a hard link), or a change of a file with several names, if the
//     other side has changed the file or one of its names.
//
// A directory gets the later of its two times. The content of files that mine has made is
// not copied: theirs reads it from mine, which must stay open until theirs is closed.
package fsmerge
