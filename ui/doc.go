// Package ui shows workspaces as web pages: the workspaces beneath a prefix, the commits
// of one, what is in it, and the mounts of this host.
//
// A page is HTML, escaped by html/template, with a style sheet; the pages of mounts have a
// short script. Nothing is loaded from elsewhere. Handler serves the pages to the one user
// of this host who has its token. WriteStatic writes the same pages as files.
//
// # Hostile input
//
// Names and contents come from buckets that others can write. Every page has a content
// security policy that forbids inline scripts and styles, forms and frames. A workspace's
// file is shown as text, a table or a picture, never as a page; a download is an attachment
// of an opaque type.
//
// # Cost
//
// A page reads only what it shows: part of a list, the end of an archive, the segments
// behind the visible part of a file.
package ui
