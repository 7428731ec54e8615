// Package gs is the driver of its scheme.
package gs

import _ "gocloud.dev/blob/gcsblob"
