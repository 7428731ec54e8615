// Package integration holds workdir against the real world: unmodified tools,
// other programs' archives, killed processes, ordinary users. It is a module of
// its own, so that what these tests need burdens nobody who uses workdir.
package integration
