#if os(none)
internal import CKernel

/// The tasks whose delay or wait ends at some tick.
///
/// A deadline is kept in the bucket of the highest bit in which it differs from the time. The time counts up by one, so that at a tick only
/// the bucket of the highest bit that changes can have deadlines that are due, or nearer now than they were: those go to lower buckets, which are empty
/// then, in their order. To insert and to remove takes a few instructions, and so does a tick, however many tasks there are; each is moved at most
/// once per bit of its delay, with interrupts masked for one at a time. Deadlines that differ above ``nearBits`` share a bucket, one for even and one
/// for odd values of what lies above, so that those which stay far change to the other.
enum Deadlines {
    private static var nearBits: Int { Int(CKERNEL_NEAR_BITS) }

    private static func bucket(of deadline: UInt64, at now: UInt64) -> Int {
        let difference = deadline ^ now
        let near = UInt32(truncatingIfNeeded: difference)
        if difference >> UInt64(nearBits) == 0 { return 31 &- near.leadingZeroBitCount }
        return nearBits &+ Int(UInt32(truncatingIfNeeded: now) &>> UInt32(nearBits)) & 1
    }

    /// Has `task` wake when the time that `wait` leaves it has passed.
    static func insert(_ task: TaskPointer, at wait: Wait) {
        let now = unsafe ckernel().pointee.now
        // The clock stays below 2^63, so that this wraps for moments only.
        var deadline = now &+ UInt64(bitPattern: wait.raw)
        // One that has passed is dealt with at the next tick.
        if wait.raw < 0 { deadline = max(0 &- UInt64(bitPattern: wait.raw), now &+ 1) }
        unsafe task.pointee.deadline = deadline
        unsafe put(task, now)
    }

    @inline(never) private static func put(_ task: TaskPointer, _ now: UInt64) {
        let number = bucket(of: unsafe task.pointee.deadline, at: now)
        let place = unsafe ckernel_buckets() + number
        unsafe task.pointee.bucket = UInt8(truncatingIfNeeded: number)
        if let first = unsafe place.pointee {
            let last = unsafe first.pointee.earlier
            unsafe task.pointee.later = first
            unsafe task.pointee.earlier = last
            unsafe last.pointee.later = task
            unsafe first.pointee.earlier = task
        } else {
            unsafe task.pointee.later = task
            unsafe task.pointee.earlier = task
            unsafe place.pointee = task
        }
    }

    @inline(never) static func remove(_ task: TaskPointer) {
        let place = unsafe ckernel_buckets() + Int(task.pointee.bucket)
        let later = unsafe task.pointee.later
        unsafe task.pointee.bucket = noBucket
        if unsafe later == task {
            unsafe place.pointee = nil
            return
        }
        let earlier = unsafe task.pointee.earlier
        unsafe later.pointee.earlier = earlier
        unsafe earlier.pointee.later = later
        if unsafe place.pointee == task { unsafe place.pointee = later }
    }

    /// Deals with the bucket that a tick concerns. Interrupts are not masked when this is called.
    @inline(never) static func turn(_ number: Int) {
        while true {
            let key = ckernel_mask()
            guard let task = unsafe (ckernel_buckets() + number).pointee else { return ckernel_unmask(key) }
            unsafe remove(task)
            let now = unsafe ckernel().pointee.now
            if unsafe task.pointee.deadline <= now {
                unsafe Scheduler.end(task, .timedOut)
            } else {
                unsafe put(task, now)
            }
            ckernel_unmask(key)
        }
    }

    /// Sleeps until an interrupt: called with interrupts masked and nothing to do, it returns with them as they were.
    static func sleep(_ key: UInt32) {
        let state = unsafe ckernel()
        let ticks = idleTicks
        guard let sleep = unsafe state.pointee.sleep, ticks > 1 else {
            ckernel_wait_for_interrupt()
            return ckernel_unmask(key)
        }
        var left = sleep(ticks)
        // No task runs before all that was due meanwhile has been dealt with: what a task inserts belongs to the new time.
        unsafe state.pointee.locks &+= 1
        while left > 0 {
            let step = min(left, idleTicks)
            left -= step
            let now = unsafe state.pointee.now &+ UInt64(step)
            unsafe state.pointee.now = now
            ckernel_unmask(key)
            deal(with: now)
            _ = ckernel_mask()
        }
        unsafe state.pointee.locks &-= 1
        Scheduler.choose()
        ckernel_unmask(key)
    }

    /// Deals with the one bucket that the time `now` concerns, if all times before it have been dealt with.
    @inline(__always) static func deal(with now: UInt64) {
        let low = UInt32(truncatingIfNeeded: now)
        var number = low.trailingZeroBitCount
        // The far ones of the block that has just ended.
        if number >= nearBits { number = nearBits &+ Int((low &>> UInt32(nearBits)) &+ 1) & 1 }
        if unsafe (ckernel_buckets() + number).pointee != nil { turn(number) }
    }

    /// How many ticks nothing is due for, and no tick concerns a bucket that is not empty; at most 2^``nearBits``. Called with interrupts masked.
    private static var idleTicks: UInt32 {
        let now = unsafe UInt32(truncatingIfNeeded: ckernel().pointee.now)
        var number = 0
        while number < nearBits, unsafe (ckernel_buckets() + number).pointee == nil { number += 1 }
        let block: UInt32 = 1 << UInt32(number)
        return block - now & (block - 1)
    }
}

/// The tick interrupt.
@_cdecl("ckernel_tick") func tick() {
    let state = unsafe ckernel()
    let key = ckernel_mask()
    let now = unsafe state.pointee.now &+ 1
    unsafe state.pointee.now = now
    ckernel_unmask(key)
    Deadlines.deal(with: now)
    let task = unsafe state.pointee.current
    if unsafe task.pointee.after != task { unsafe Scheduler.endSlice(task) }
}
#endif
