// Package ui shows workspaces as web pages: the workspaces beneath a prefix, the commits
// of one, what is in it, and the mounts of this host.
//
// A page is HTML that html/template has escaped, and a style sheet; the page of mounts has a
// short script. Nothing is loaded from anywhere else. Handler serves the pages to one user
// of this host, who has its token. WriteStatic writes the same pages as files.
//
// # Hostile input
//
// Names and contents come from buckets that others can write. Every page has a content
// security policy that forbids inline scripts and styles, forms and frames. A file of a
// workspace is shown as text, as a table or as a picture, never as a page: what is
// downloaded is an attachment of an opaque type.
//
// # Cost
//
// A view reads what it shows: a page of a list, the end of an archive, the segments of
// the part of a file that is on the screen.
package ui
