from pydantic import BaseModel


class CourseData(BaseModel):
    title: str


class ProgramData(BaseModel):
    name: str
    courses: list[CourseData]
