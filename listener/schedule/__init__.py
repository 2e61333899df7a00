"""Plans tasks at the times that the schedule rules name."""

from listener.schedule.scheduler import Scheduled, Scheduler
from listener.schedule.timetable import Timetable

__all__ = ["Scheduled", "Scheduler", "Timetable"]
