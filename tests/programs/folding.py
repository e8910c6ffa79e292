"""A file system that takes `.ENV` for `.env`: folding.py LOWER MOUNT serves LOWER, in the foreground."""
import errno
import os
import sys

import fusepy


class Folding(fusepy.Operations):
    def __init__(self, lower):
        self.lower = lower

    def real(self, path):
        """Where the path lies below: each name as it is there in any spelling, else as it was given."""
        place = self.lower
        for name in path.strip("/").split("/"):
            there = os.listdir(place) if os.path.isdir(place) else []
            place = os.path.join(place, next((one for one in there if one.lower() == name.lower()), name))
        return place.rstrip("/")

    def getattr(self, path, fh=None):
        try:
            stat = os.lstat(self.real(path))
        except OSError as error:
            raise fusepy.FuseOSError(error.errno)
        return {key: getattr(stat, key) for key in ("st_mode", "st_ino", "st_nlink", "st_size", "st_uid", "st_gid", "st_mtime", "st_ctime", "st_atime")}

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self.real(path))]

    def open(self, path, flags):
        return os.open(self.real(path), flags)

    def create(self, path, mode, fi=None):
        return os.open(self.real(path), os.O_RDWR | os.O_CREAT, mode)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(self.real(path), length)

    def release(self, path, fh):
        os.close(fh)

    def mkdir(self, path, mode):
        os.mkdir(self.real(path), mode)

    def unlink(self, path):
        os.unlink(self.real(path))

    def rename(self, old, new):
        os.rename(self.real(old), self.real(new))

    def link(self, target, source):
        raise fusepy.FuseOSError(errno.EPERM)


fusepy.FUSE(Folding(sys.argv[1]), sys.argv[2], foreground=True, nothreads=True, use_ino=True)
